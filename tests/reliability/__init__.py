"""The judges of reliability: random lives, killed workers, two hosts at once, and the long run of them."""

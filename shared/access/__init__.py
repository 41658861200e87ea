"""Who calls: tokens of Microsoft Entra, the keys they are signed with, and what they permit.

The JWT library is imported inside functions only: what needs no token, a queue message for one, must not pay for it.
"""

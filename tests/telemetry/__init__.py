"""Telemetry, in lives of the product that are watched."""

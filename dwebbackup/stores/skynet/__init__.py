"""Skynet: `portal` puts files into it, `carrier` gets them by skylink, `registry` keeps what leads to a writer's head.

A portal is asked over HTTP, and never trusted: what it gives is hashed, and what it says is newest is signed.
"""

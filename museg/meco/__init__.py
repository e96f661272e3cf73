"""MeCo: a video told as events and transitions, each structural token aligned with the time it covers (2503.09027)."""

"""The texts of the tokens by which an answer tells of events instead of times."""

EVENT_TOKEN, GAP_TOKEN = "<ent>", "<tst>"
"""What closes the caption of an event, and what stands for a stretch without one."""

"""The typed configuration: schemas of every group, rules across groups, and messages that say what to type instead."""

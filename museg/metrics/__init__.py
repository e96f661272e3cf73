"""What is measured on predicted segments, and what every logged key means."""

"""Videos: what to read of a file, reading it, and the tensors of Qwen2.5-VL; also labelled clips made here."""

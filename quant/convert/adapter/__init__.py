"""LoRA adapters of peft, merged into a checkpoint's tensors while these are read."""

"""What would spoil a measurement on this device."""

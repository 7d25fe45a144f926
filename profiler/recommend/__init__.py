"""From limits to one choice with its reason: `records` says what goes in and comes out, `choose` decides."""

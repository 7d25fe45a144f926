"""Results in other forms, one module per form."""

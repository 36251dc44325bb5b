"""A dry run of the trainer's own code: what of memory a model's blocks ask for, counted where no weight is loaded."""

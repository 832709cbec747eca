"""Parts shared by the models: their base class, encoders, tasks and vocabularies."""

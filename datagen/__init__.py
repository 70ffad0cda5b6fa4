"""datagen: from seed questions to audited training data, stage by stage (datagen/README.md)."""

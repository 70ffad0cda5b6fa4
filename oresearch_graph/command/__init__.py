"""The commands behind `oresearch`. Each module is loaded when its command is called."""

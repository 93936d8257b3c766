"""The parts of ``duoseg predict``."""

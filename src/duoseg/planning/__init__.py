"""From scans to network-ready volumes, and the exact way back: fingerprint, plan, prepared volumes, cache."""

"""From a trained run and a scan to a mask on the scan's own grid."""

"""What compression keeps: recall, error, certificates, calibration, drift."""

from triage.evaluation import brier, expected_calibration_error

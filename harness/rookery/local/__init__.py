"""Kubernetes' own local volumes, one on each worker's disk: the control for whatever another storage system shows."""

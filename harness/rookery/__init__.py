"""End-to-end tests of storage on throwaway Kubernetes clusters."""

__version__ = "0.1.0"

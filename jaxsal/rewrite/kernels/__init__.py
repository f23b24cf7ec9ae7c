"""Kernels for GPUs, written in Pallas: what XLA computes in several passes over memory, in one."""

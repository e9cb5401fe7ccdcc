"""Tests of src/plan and init: the steps of a plan."""

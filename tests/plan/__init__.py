"""Tests of src/plan and init: what the steps of a plan do."""

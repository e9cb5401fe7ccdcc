"""Why a step fails, and what this machine allows."""

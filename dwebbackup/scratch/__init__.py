"""Throw-away database servers, and something lifelike to put into them: for the demo, drills and tests."""

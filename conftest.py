"""What holds for every test, those in docstrings and in docs/ too."""

pytest_plugins = ["tests.surroundings"]

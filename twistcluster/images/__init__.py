"""What is done to pictures: opening, steps, plans, saving. Pillow and NumPy are loaded by the first picture only."""

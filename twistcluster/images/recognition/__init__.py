"""Recognition: models read, pictures turned into their inputs, their outputs into labels, scores and boxes.

ONNX Runtime, NumPy and Pillow are loaded by the first recognizer or picture only.
"""

"""The model: what a text says, how bad it is, and whether a financial desk wants it.

``text``, ``language``, ``bundle``, ``batches`` and ``classifier`` run at serving time with onnxruntime, tokenizers and
numpy alone; ``training`` makes the bundles and needs the ``train`` extra.
"""

"""From labelled texts to a bundle: data, fine-tuning, export, evaluation. Needs the ``train`` extra."""

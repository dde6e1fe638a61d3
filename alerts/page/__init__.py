"""The page: mood, open spikes and the stories behind them, for people with a browser, with or without JavaScript."""

"""From articles to trends: the worker scores articles and tallies them, trends keeps each series and finds spikes."""

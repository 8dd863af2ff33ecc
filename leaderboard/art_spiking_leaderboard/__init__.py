"""The leaderboard of art-spiking: submissions, runs, ranking, page."""

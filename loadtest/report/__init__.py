"""The report of a run: the figures as JSON, pictures of them, and one HTML page that holds everything.

python -m loadtest.report FOLDER        draws the report of a finished run once more
"""

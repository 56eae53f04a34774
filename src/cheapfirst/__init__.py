"""cheapfirst: the cheapest model that still does the job, proved by checks in code."""

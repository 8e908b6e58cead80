SELECT scheduler.run_now(@job)

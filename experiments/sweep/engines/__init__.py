"""The engines that run the tasks of a sweep: processes of this host, Ray or SLURM."""

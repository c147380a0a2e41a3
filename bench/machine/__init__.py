"""What is asked of the machine: how much memory a process holds, and on which cores it runs."""

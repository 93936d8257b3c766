"""The parts of ``duoseg compare``: what is asked, what it is compared with, the processes, the outputs."""

"""Where the time of a prefill and of a decode step goes: every node of llama.cpp's graph, timed one by one."""

"""Where the time of a prefill and a decode step goes: every node of llama.cpp's graph, timed one by one."""

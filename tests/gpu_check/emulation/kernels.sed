# CUDA's two spellings that C++ lacks, for the emulation: launches, and shared memory whose size the launch gives.
s/([A-Za-z][A-Za-z0-9_]*(<[^<>]*>)?)<<<(.*)>>>\(/EMULATED_LAUNCH(\1, \3)(/
s/extern __shared__ (__align__\([0-9]+\) )?([a-z]+) ([A-Za-z]+)\[\];/\2* \3 = emulation::dynamicShared<\2>();/

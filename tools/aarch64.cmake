# Cross-compiles for aarch64 with the headers and libraries of the root that tools/aarch64 makes.
set(work ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH ${work}/root)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
# Debian's headers are of two folders: openssl/opensslconf.h and pyconfig.h lie in that of the machine.
set(CMAKE_CXX_FLAGS_INIT
    "-idirafter ${work}/root/usr/include/aarch64-linux-gnu -idirafter ${work}/root/usr/include")
set(PYTHON_MODULE_EXTENSION .cpython-311-aarch64-linux-gnu.so CACHE STRING "")
set(OPENSSL_USE_STATIC_LIBS TRUE)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -cpu neoverse-n1 -L ${work}/root)

// main() of the tests with a window: looks for leaks when the tests are over and before the program exits. The leak checker stops
// every thread to read its stack and registers; at exit, where it would look by itself, the threads of a software OpenGL are ending
// at that moment, and now and then it fails on one. Here they rest: every window is gone, and the OpenGL driver is still loaded, so
// that what it keeps can be told by its name from what we lost.
#include <gtest/gtest.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define HEADSCOPE_CHECK_LEAKS 1
#endif
#endif

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
#ifdef HEADSCOPE_CHECK_LEAKS
  __lsan_do_leak_check();  // ends the program where something leaked; it is not done again at exit
#endif
  return result;
}

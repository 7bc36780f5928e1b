// main() of the tests with a window. What outlives a single test ends here, in order, before leaks are looked for: the leak checker
// stops every thread to read its stack, and fails now and then on threads that are ending, as those of a software OpenGL do while
// the program exits. So the application and with it its OpenGL contexts are gone first, and the check is made at rest.
#include <gtest/gtest.h>

#include <QCoreApplication>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define HEADSCOPE_CHECK_LEAKS 1
#endif
#endif

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  delete QCoreApplication::instance();
#ifdef HEADSCOPE_CHECK_LEAKS
  __lsan_do_leak_check();  // ends the program where something leaked; it is not made again at exit
#endif
  return result;
}

#include "app/entry.h"

int main(int argc, char** argv) { return headscope::app::runHeadscope(argc, argv); }

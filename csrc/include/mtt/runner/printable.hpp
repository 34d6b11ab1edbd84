// The one place that makes text of strangers harmless: names and messages of models, files and libraries.
#pragma once

#include <string>

namespace mtt {

/// One line of printable text: control characters, invisible and bidirectional marks and bytes that are no UTF-8 are
/// written as escapes, so that neither a terminal nor the eye of a reader obeys them.
std::string printable(const std::string& text);

/// The same lines, none of which a CI service takes for a command (":: ..." and "##[ ..." at the start of a line).
std::string without_commands(const std::string& lines);

}  // namespace mtt

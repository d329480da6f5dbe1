// Text → Program: reads what ir/text/print.h writes, or a program written by hand. Graphs are
// rebuilt through GraphBuilder, so every shape rule is checked again; a hand-written program may
// use composite ops and leave broadcasts out.
//
//   program     := 'program' NAME (param | state | cell)*
//   param       := 'param' NAME shape ('glorot' | 'uniform' '(' NUMBER ')' |
//                                      'constant' '(' NUMBER ')')
//   state       := 'state' NAME type+
//   cell        := 'cell' NAME '(' [port (',' port)*] ')' '->' NAME '{' node*
//                  'return' VALUE (',' VALUE)* '}'
//   port        := NAME ':' ('index' | 'child' NAME | 'children' NAME)
//   node        := VALUE '=' expression ':' type
//   expression  := 'port' NAME ['.' INTEGER] | 'param' NAME |
//                  OP '(' [argument (',' argument)*] ')'
//   argument    := VALUE | ATTRIBUTE '=' (NUMBER | NAME of a port)
//   type        := ('f32' | 'i32') shape ['*' NAME of a Children port]
//   shape       := '[' [INTEGER (',' INTEGER)*] ']'
//
// VALUE is % and digits; NAME a word, or anything in double quotes with \", \\ and \xNN. White
// space and line ends only separate; # starts a comment. Names are declared before they are used.
#pragma once

#include <string_view>

#include "ir/program.h"

namespace espalier::ir {

/// Throws UserError "FILE:LINE:COLUMN: found …, expected …" (`file` is only for that text).
Program parse(std::string_view text, std::string_view file = "program");

}  // namespace espalier::ir

# Broken: L goes on as soon as it has answered.
s/^  if R3 = hmac(kr, label_R3, (R1, R2)) then$/  if R3 = R3 then/
